"""Doors for programs that speak a protocol: MCP and HTTP. Each needs an extra of its own."""
