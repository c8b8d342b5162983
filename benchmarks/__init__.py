"""Benchmarks: the same work by gpuarray and by its peers, side by side in one run. `python -m benchmarks --help`.

rows      what a row of the table says: the work, who does it, what is expected
suites/   the rows themselves, one file for each theme; a file that is put there is found
worker    one piece of work in a process of its own: seconds, CPU seconds, memory
runner    takes the pieces in turns, compares their results, judges the targets
"""
