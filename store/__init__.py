"""Content-addressed objects and safetensors checkpoints on a local disk.

Promises: an object's name is the sha256 of its bytes; an object that `put` returned survives a
power cut; bytes are checked before they are parsed; nothing is ever unpickled.
Rules: numpy, safetensors and the standard library only; no torch, no SQL, no network.

    store = ObjectStore(root)
    oid = store.put(encode({"w.u": u, "w.v": v}, {"method": "rome"}))
    delta = decode(store.get(oid))

Modules: `objects` (the store), `atomic` (the write protocol), `layout` (names and paths),
`tensors` and `canonical` (bytes), `checkpoints` and `surgery` (model folders), `gc`, `errors`.
Import from the modules: this file stays empty so that reading history does not load numpy.
"""
