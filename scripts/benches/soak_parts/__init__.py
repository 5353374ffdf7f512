"""The parts of `soak`: what is done, what is measured, how it is judged and drawn."""
