import asyncio
async def work(n, d):
    await asyncio.sleep(d); return n * n
async def main():
    print(await asyncio.gather(work(1, .02), work(2, .01)))
    q = asyncio.Queue(); [q.put_nowait(i) for i in range(3)]
    print([await q.get() for _ in range(3)])
    try: await asyncio.wait_for(asyncio.sleep(5), .01)
    except TimeoutError: print("timeout")
asyncio.run(main())
