"""The MCP server: seven tools and two resources over one namespace of a store.

    what an agent may say and is told    `arguments`, `results`
    what each tool does                  `tools`, and `storing`, `recalling`, `forgetting`
    what holds now                       `validity`
    what a client may read               `resources`
    how recalled text is marked as data  `fencing`
    the SDK's server around all this     `serving`; the transports `stdio` and `http`

Import from the module; this one imports nothing, so that the names of the tools cost no SDK.
"""

READING_TOOLS = ("memory_recall", "memory_get", "memory_status")
WRITING_TOOLS = ("memory_store", "memory_update", "memory_forget", "memory_feedback")
TOOLS = (
    "memory_store",
    "memory_recall",
    "memory_update",
    "memory_forget",
    "memory_get",
    "memory_feedback",
    "memory_status",
)
