extends SceneTree
# A scripted peer of Godot 4, the twin of ../g3/main.gd and ../../src/bin/peer.rs: prints one line of
# JSON for everything that happens, and does the steps of its role one after the other.
#   godot --headless --path g4 -s main.gd -- role=server|client port=N scen=FILE.json [who=NAME] ...
var opt := {}
var peer: ENetMultiplayerPeer
var steps := []
var began := 0
var ready_at := -1
var seen := []
var reliable := 0
var disconnects := 0
var done := false

func now() -> int:
	return Time.get_ticks_msec() - began

func emit(d: Dictionary) -> void:
	d["t"] = now()
	print("@", JSON.stringify(d))

# The first byte tells whether the message is reliable: below 128 it is.
func fill(n: int, seed: int, stride: int) -> PackedByteArray:
	var b := PackedByteArray()
	b.resize(n)
	for i in n:
		b[i] = (i * stride + (i >> 8) * 31 + seed) & 255
	return b

func sha(b: PackedByteArray) -> String:
	var h := HashingContext.new()
	h.start(HashingContext.HASH_SHA256)
	h.update(b)
	return h.finish().hex_encode()

func _initialize() -> void:
	began = Time.get_ticks_msec()
	for a in OS.get_cmdline_user_args():
		var kv = a.split("=")
		if kv.size() == 2:
			opt[kv[0]] = kv[1]
	var all = JSON.parse_string(FileAccess.get_file_as_string(opt["scen"]))
	steps = all.get(opt.get("who", opt["role"]), [])
	peer = ENetMultiplayerPeer.new()
	peer.peer_connected.connect(func(id):
		if ready_at < 0:
			ready_at = now()
		seen.append(id)
		emit({"ev": "connect", "id": id}))
	peer.peer_disconnected.connect(func(id):
		seen.erase(id)
		disconnects += 1
		emit({"ev": "disconnect", "id": id}))
	peer.set_bind_ip("127.0.0.1")
	var err
	if opt["role"] == "server":
		err = peer.create_server(int(opt["port"]), int(opt.get("peers", "8")))
	else:
		err = peer.create_client("127.0.0.1", int(opt["port"]), int(opt.get("chans", "0")))
	peer.host.compress(int(opt.get("comp", "0")))
	peer.refuse_new_connections = opt.get("refuse", "0") == "1"
	emit({"ev": "created", "err": err, "version": Engine.get_version_info()["string"]})

# Whether the step is over.
func run_step(s: Dictionary) -> bool:
	match s["op"]:
		"put":
			peer.transfer_channel = int(s["ch"])
			peer.transfer_mode = int(s["mode"])
			peer.set_target_peer(0 if opt["role"] == "server" else 1)
			var err = peer.put_packet(fill(int(s["len"]), int(s["seed"]), int(s.get("stride", 1))))
			if err != OK:
				emit({"ev": "refused", "err": err})
		"await":
			return reliable >= int(s["reliable"])
		"lost":
			return disconnects > 0
		"timeout":
			for id in seen:
				peer.get_peer(id).set_timeout(int(s["limit"]), int(s["min"]), int(s["max"]))
		"disc":
			for id in seen.duplicate():
				var remote = peer.get_peer(id)
				match s["how"]:
					"now": remote.peer_disconnect_now(int(s["data"]))
					"later": remote.peer_disconnect_later(int(s["data"]))
					_: remote.peer_disconnect(int(s["data"]))
		"close":
			peer.close()
		"die":
			OS.kill(OS.get_process_id())
	return true

func _process(_delta: float) -> bool:
	OS.delay_msec(1)
	if peer.get_connection_status() != 0:
		peer.poll()
	while peer.get_connection_status() != 0 and peer.get_available_packet_count() > 0:
		var ch = peer.get_packet_channel()
		var mode = peer.get_packet_mode()
		var b = peer.get_packet()
		if b.size() > 0 and b[0] < 128:
			reliable += 1
		emit({"ev": "packet", "ch": ch, "mode": mode, "n": b.size(), "sha": sha(b)})
	while ready_at >= 0 and steps.size() > 0:
		var s = steps[0]
		if now() < ready_at + s.get("wait", 0) or not run_step(s):
			break
		ready_at = now()
		steps.pop_front()
	if steps.is_empty() and ready_at >= 0:
		done = true
	if now() > int(opt["max"]):
		emit({"ev": "out of time", "left": steps.size()})
		done = true
	return done
