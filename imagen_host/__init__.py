"""The embedded host: runs this pack's nodes without ComfyUI. See cli.py for the command, engine.py for execution."""
