"""How do pictures come in and go out? By named formats only, within limits: `pictures` is the way in."""
