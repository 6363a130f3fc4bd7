import asyncio
class Count:
    def __init__(s, n): s.n = n
    def __aiter__(s): return s
    async def __anext__(s):
        if not s.n: raise StopAsyncIteration
        s.n -= 1; await asyncio.sleep(0); return s.n
async def main():
    async with asyncio.TaskGroup() as g:
        t = [g.create_task(asyncio.sleep(.001 * i, i)) for i in range(3)]
    print([x async for x in Count(3)], [x.result() for x in t])
asyncio.run(main())
