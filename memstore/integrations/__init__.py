"""Doors for programs of a framework: one module and one extra each, nothing imported unasked."""
