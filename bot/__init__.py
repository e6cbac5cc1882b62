"""The Discord side: async, light. Never imports torch."""
