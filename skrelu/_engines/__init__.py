"""The engines: how iterations are carried out. `Engine` is their contract, and each says what it suits and costs."""
