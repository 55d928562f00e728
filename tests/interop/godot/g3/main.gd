extends SceneTree
# A scripted peer of Godot 3, the twin of ../g4/main.gd and ../../src/bin/peer.rs.
#   godot3-server --path g3 -s main.gd role=server|client port=N scen=FILE.json [who=NAME] ...
var opt = {}
var peer
var steps = []
var began = 0
var ready_at = -1
var seen = []
var reliable = 0
var disconnects = 0
var done = false

func now():
	return OS.get_ticks_msec() - began

func emit(d):
	d["t"] = now()
	print("@", to_json(d))

# The first byte tells whether the message is reliable: below 128 it is.
func fill(n, seed_, stride):
	var b = PoolByteArray()
	b.resize(n)
	for i in range(n):
		b[i] = (i * stride + (i >> 8) * 31 + seed_) & 255
	return b

func sha(b):
	var h = HashingContext.new()
	h.start(HashingContext.HASH_SHA256)
	h.update(b)
	var s = ""
	for x in h.finish():
		s += "%02x" % x
	return s

func _init():
	began = OS.get_ticks_msec()
	for a in OS.get_cmdline_args():
		var kv = a.split("=")
		if kv.size() == 2:
			opt[kv[0]] = kv[1]
	var f = File.new()
	f.open(opt["scen"], File.READ)
	steps = parse_json(f.get_as_text()).get(opt.get("who", opt["role"]), [])
	f.close()
	peer = NetworkedMultiplayerENet.new()
	peer.connect("peer_connected", self, "_connected")
	peer.connect("peer_disconnected", self, "_disconnected")
	peer.connect("server_disconnected", self, "_disconnected", [1])
	peer.channel_count = int(opt.get("chans", "8"))
	peer.compression_mode = int(opt.get("comp", "0"))
	peer.set_bind_ip("127.0.0.1")
	var err
	if opt["role"] == "server":
		err = peer.create_server(int(opt["port"]), int(opt.get("peers", "8")))
	else:
		err = peer.create_client("127.0.0.1", int(opt["port"]))
	peer.refuse_new_connections = opt.get("refuse", "0") == "1"
	emit({"ev": "created", "err": err, "version": Engine.get_version_info()["string"]})

func _connected(id):
	if ready_at < 0:
		ready_at = now()
	seen.append(id)
	emit({"ev": "connect", "id": id})

func _disconnected(id):
	seen.erase(id)
	disconnects += 1
	emit({"ev": "disconnect", "id": id})

# Whether the step is over.
func run_step(s):
	match s["op"]:
		"put":
			# Of the game's channels, 0 is chosen by mode and the others come behind ENet's first three.
			peer.transfer_channel = int(s["ch"]) + 2 if int(s["ch"]) > 0 else -1
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
			if peer.has_method("set_peer_timeout"):
				for id in seen:
					peer.set_peer_timeout(id, int(s["limit"]), int(s["min"]), int(s["max"]))
		"disc":
			for id in seen.duplicate():
				peer.disconnect_peer(id, s["how"] == "now")
		"close":
			peer.close_connection()
		"die":
			OS.kill(OS.get_process_id())
	return true

func _idle(_delta):
	OS.delay_msec(1)
	if peer.get_connection_status() != 0:
		peer.poll()
	while peer.get_connection_status() != 0 and peer.get_available_packet_count() > 0:
		var ch = peer.get_packet_channel()
		var b = peer.get_packet()
		if b.size() > 0 and b[0] < 128:
			reliable += 1
		emit({"ev": "packet", "ch": ch - 2 if ch > 2 else 0, "n": b.size(), "sha": sha(b)})
	while ready_at >= 0 and steps.size() > 0:
		var s = steps[0]
		if now() < ready_at + s.get("wait", 0) or not run_step(s):
			break
		ready_at = now()
		steps.pop_front()
	if steps.empty() and ready_at >= 0:
		done = true
	if now() > int(opt["max"]):
		emit({"ev": "out of time", "left": steps.size()})
		done = true
	if done:
		quit()
	return false
