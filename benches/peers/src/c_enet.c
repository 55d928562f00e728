/* The fields of hosts, events and packets, by whatever header is installed. */
#include <enet/enet.h>
#include <stdint.h>
#include <stdlib.h>

struct bowline_event {
    uint32_t kind, peer;
    ENetPacket *packet;
    const uint8_t *bytes;
    size_t len;
};

int bowline_peers_initialize(void *(*allocate)(size_t)) {
    ENetCallbacks callbacks = {allocate, free, NULL};
    return enet_initialize_with_callbacks(ENET_VERSION, &callbacks);
}

uint32_t bowline_peers_version(void) { return enet_linked_version(); }

ENetHost *bowline_peers_create(size_t peers) { return enet_host_create(NULL, peers, 2, 0, 0); }

int bowline_peers_connect(ENetHost *host, uint32_t to) {
    ENetAddress address = {to, 1};
    return enet_host_connect(host, &address, 2, 0) ? 0 : -1;
}

int bowline_peers_send(ENetHost *host, size_t peer, uint32_t flags, const uint8_t *bytes,
                       size_t len) {
    ENetPacket *packet = enet_packet_create(bytes, len, flags);
    return packet ? enet_peer_send(&host->peers[peer], 0, packet) : -1;
}

int bowline_peers_service(ENetHost *host, struct bowline_event *out) {
    ENetEvent event;
    int result = enet_host_service(host, &event, 0);
    if (result <= 0) return result;
    out->kind = event.type;
    out->peer = (uint32_t)(event.peer - host->peers);
    out->packet = event.type == ENET_EVENT_TYPE_RECEIVE ? event.packet : NULL;
    out->bytes = out->packet ? out->packet->data : NULL;
    out->len = out->packet ? out->packet->dataLength : 0;
    return result;
}

void bowline_peers_release(struct bowline_event *event) {
    if (event->packet) enet_packet_destroy(event->packet);
}
