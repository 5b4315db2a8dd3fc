"""The Python client library: quotes over HTTP and a live, resuming stream.

`Client` (bhavcast.client.stream) and `Rest` (bhavcast.client.rest) talk to a gateway; `State` (bhavcast.client.state) is
what a client holds, without a socket. Each is imported from its module, so that none costs what another needs.
"""
