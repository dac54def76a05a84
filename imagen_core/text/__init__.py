"""How does a prompt become numbers? A frozen T5 or BERT encoder, and a cache of what it already read."""
