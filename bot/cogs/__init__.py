"""Discord cogs: parse, call one function, render."""
