"""Benchmarks on a GPU: `python -m benchmarks.gpu`, which `make gpu` calls.

`work` is the table, `libraries` how each library does a piece of work and is timed, `limits` what the hardware gives,
`process` one library's process, `report` what is made of the numbers.
"""
