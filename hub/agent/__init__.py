"""The built-in agent: it maps plain sentences to the announced tasks, and needs no LLM."""
