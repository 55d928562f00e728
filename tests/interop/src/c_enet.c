/* What Rust cannot see without mirroring the layouts of one release: the fields of hosts, peers and
 * packets, by whatever header is installed. The other half is c_enet.rs. */
#include <enet/enet.h>
#include <stdint.h>
#include <stdlib.h>

struct bowline_event {
    uint32_t kind, peer, channel, flags, data;
    ENetPacket *packet;
    const uint8_t *bytes;
    size_t len;
};

/* Reassembly buffers are the library's only memory that is not written before it is read. */
static void *zeroed(size_t size) { return calloc(1, size ? size : 1); }

int bowline_c_initialize(void) {
    ENetCallbacks callbacks = {zeroed, free, NULL};
    return enet_initialize_with_callbacks(ENET_VERSION, &callbacks);
}

uint32_t bowline_c_version(void) { return enet_linked_version(); }

ENetHost *bowline_c_create(uint16_t port, size_t peers, size_t channels, uint32_t in, uint32_t out) {
    ENetAddress address = {0, port};
    enet_address_set_host_ip(&address, "127.0.0.1");
    return enet_host_create(port ? &address : NULL, peers, channels, in, out);
}

void bowline_c_options(ENetHost *host, int checksum, int range_coder, size_t duplicate_peers,
                       size_t packet_max, size_t waiting_max, uint32_t mtu) {
    if (checksum) host->checksum = enet_crc32;
    if (range_coder) enet_host_compress_with_range_coder(host);
    if (duplicate_peers) host->duplicatePeers = duplicate_peers;
    if (packet_max) host->maximumPacketSize = packet_max;
    if (waiting_max) host->maximumWaitingData = waiting_max;
    if (mtu) {
        host->mtu = mtu;
        for (size_t i = 0; i < host->peerCount; i++) host->peers[i].mtu = mtu;
    }
}

/* Up to 1.3.17 the next connect id is this plus one. */
void bowline_c_seed(ENetHost *host, uint32_t seed) { host->randomSeed = seed; }

int bowline_c_connect(ENetHost *host, uint32_t ip, uint16_t port, size_t channels, uint32_t data) {
    ENetAddress address = {ip, port};
    ENetPeer *peer = enet_host_connect(host, &address, channels, data);
    return peer ? (int)(peer - host->peers) : -1;
}

static ENetPacket *packet(const uint8_t *bytes, size_t len, uint32_t flags) {
    return enet_packet_create(bytes, len, flags);
}

int bowline_c_send(ENetHost *host, size_t peer, uint8_t channel, uint32_t flags,
                   const uint8_t *bytes, size_t len) {
    ENetPacket *sent = packet(bytes, len, flags);
    int result = sent ? enet_peer_send(&host->peers[peer], channel, sent) : -1;
    if (sent && result < 0) enet_packet_destroy(sent);
    return result;
}

void bowline_c_broadcast(ENetHost *host, uint8_t channel, uint32_t flags, const uint8_t *bytes,
                         size_t len) {
    ENetPacket *sent = packet(bytes, len, flags);
    if (sent) enet_host_broadcast(host, channel, sent);
}

ENetPeer *bowline_c_peer(ENetHost *host, size_t index) {
    return index < host->peerCount ? &host->peers[index] : NULL;
}

int bowline_c_service(ENetHost *host, struct bowline_event *out) {
    ENetEvent event;
    int result = enet_host_service(host, &event, 0);
    if (result <= 0) return result;
    out->kind = event.type;
    out->peer = (uint32_t)(event.peer - host->peers);
    out->channel = event.channelID;
    out->data = event.data;
    out->packet = event.type == ENET_EVENT_TYPE_RECEIVE ? event.packet : NULL;
    out->bytes = out->packet ? out->packet->data : NULL;
    out->len = out->packet ? out->packet->dataLength : 0;
    out->flags = out->packet ? out->packet->flags : 0;
    return result;
}

void bowline_c_release(struct bowline_event *event) {
    if (event->packet) enet_packet_destroy(event->packet);
    event->packet = NULL;
}

/* In the order of `PeerState` of subject.rs. */
void bowline_c_state(const ENetHost *host, size_t index, uint32_t out[16]) {
    const ENetPeer *peer = &host->peers[index];
    const uint32_t values[16] = {
        peer->state, peer->roundTripTime, peer->roundTripTimeVariance, peer->packetThrottle,
        peer->packetThrottleLimit, peer->reliableDataInTransit, (uint32_t)peer->totalWaitingData,
        peer->windowSize, peer->mtu, peer->nextTimeout, peer->packetLoss,
        (uint32_t)peer->channelCount, peer->connectID, peer->address.host, peer->address.port,
        peer->incomingPeerID,
    };
    for (size_t i = 0; i < 16; i++) out[i] = values[i];
}
