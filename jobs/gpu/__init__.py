"""The GPU side: torch, transformers, peft, trl, datasets, bitsandbytes. Never imports bot or discord."""
