"""A job at Spark itself, on a JVM: a group of its own, for it takes a download of half a gigabyte.

By hand: `pip install -r tests/jvm/requirements.txt` in an environment without pyspark-client, then `pytest tests/jvm`.
"""
