"""Which of two models do people prefer? Prompts by category, a page that hides which is which, and votes counted."""
