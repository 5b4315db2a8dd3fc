"""THE MAIN PATH. Read this file first.

    feed -> guard -> board -> journal -> bus -> (each gateway) replica -> hub -> outbox -> client

`recover` begins an epoch or goes on with one, `ingest` carries ticks from feed to bus, `relay` carries messages from bus
to hub. What each step promises is said in docs/explanation/state.md.
"""
