"""Language models: fetch one, let it write and chat, compress with it."""

COMMANDS = ("fetch", "write", "chat", "compress", "decompress")
