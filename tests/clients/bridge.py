"""Uses the MCP bridge as a host does, over its standard input and output.

Reads [[tool, arguments], …] from the standard input; prints the instructions, the names of the tools, and the text of
each answer. The environment configures the bridge."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main(calls):
    bridge = StdioServerParameters(command=sys.executable, args=["-m", "prometheux_mcp"], env=dict(os.environ))
    async with stdio_client(bridge) as streams, ClientSession(*streams) as session:
        instructions = (await session.initialize()).instructions
        tools = [tool.name for tool in (await session.list_tools()).tools]
        answers = [(await session.call_tool(tool, arguments)).content[0].text for tool, arguments in calls]
    print(json.dumps({"instructions": instructions, "tools": tools, "answers": answers}))


asyncio.run(main(json.load(sys.stdin)))
