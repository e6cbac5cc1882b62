"""The shared core: what the bot and the worker agree on. Never imports torch or discord."""
