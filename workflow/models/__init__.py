"""Models and their engines: resolve, export, compile, parity, and which engine may be used."""
