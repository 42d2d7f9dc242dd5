"""The answering layer: makes sure that each wanted request gets a final result and is paid for once.

It knows no rows.
"""
