"""The answering layer: sees to it that each wanted request gets a final result, paid once. It knows no rows."""
