"""WebSockets on the bare transport, for uvicorn (RFC 6455).

    rfc6455   frames made and read, without any I/O
    turns     one write per connection and turn of the event loop
    wire      one open connection: no task, no queue, no timer of its own
    head      the request that asks for one
    answer    what it is answered, once a gate has decided on it
    upgrade   the classes for uvicorn's `http=` and `ws=`

Under any other ASGI server the hub sends through ASGI (`hub.pipes`), which costs more.
"""
