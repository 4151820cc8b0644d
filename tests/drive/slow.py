#!/usr/bin/python3
"""A link with a delay, for tests: what a host far away costs.

  slow.py PORT DELAY_MS FILE

Listens on 127.0.0.1, writes its port to FILE, and connects each client to PORT.
Everything arrives DELAY_MS/2 later, in both directions, however much is under way.

FILE.log has a line for each connection when it ends: the round trips until then, of all
connections together.  What a client says before it has an answer, on this or another
connection, is no round trip more.
"""
import asyncio, os, sys, time

port, delay, name = int(sys.argv[1]), float(sys.argv[2]) / 2000, sys.argv[3]
log = open(name + '.log', 'w', buffering=1)
seen = 0    # the round trips that answers which have arrived have taken


async def carry(reader, writer, trip, arrived):
    queue = asyncio.Queue()

    async def deliver():
        while True:
            at, data, n = await queue.get()
            await asyncio.sleep(max(0, at - time.monotonic()))
            arrived(n)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    task = asyncio.ensure_future(deliver())
    try:
        data = b'x'
        while data:
            data = await reader.read(1 << 18)
            await queue.put((time.monotonic() + delay, data, trip()))
        await task
    except (OSError, asyncio.CancelledError):
        task.cancel()


async def client(reader, writer):
    global seen
    asked = 0

    def arrived_there(n):
        nonlocal asked
        asked = max(asked, n)

    def arrived_here(n):
        global seen
        seen = max(seen, n)

    try:
        n = seen + 1    # the connection itself
        await asyncio.sleep(2 * delay)
        arrived_here(n)
        there = await asyncio.open_connection('127.0.0.1', port)
        await asyncio.gather(carry(reader, there[1], lambda: seen + 1, arrived_there),
                             carry(there[0], writer, lambda: asked, arrived_here))
        there[1].close()
    except OSError:
        pass
    writer.close()
    log.write('%d\n' % seen)


async def main():
    server = await asyncio.start_server(client, '127.0.0.1', 0, backlog=128)
    with open(name + '.new', 'w') as f:
        f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(name + '.new', name)
    async with server:
        await server.serve_forever()

asyncio.run(main())
