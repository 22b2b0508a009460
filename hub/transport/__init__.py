"""WebSockets on the bare transport, for uvicorn (RFC 6455).

    rfc6455   frames made and read, without any I/O
    turns     one write per connection and turn of the event loop
    wire      one open connection: no task, no queue, no timer of its own
    hand_over what app and server agree on
    upgrade   the class for uvicorn's `ws=`: shakes hands, lets the app decide, hands over

Under any other ASGI server the hub sends through ASGI (`hub.pipes`), which costs more.
"""
