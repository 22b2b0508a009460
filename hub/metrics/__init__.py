"""What a hub says of itself to Prometheus (docs/metrics.md).

catalogue   every metric: its name, kind, labels and meaning
sample      what one process has counted, as numbers that can be added up
board       adds up the processes that share a port
queues      what Redis knows: queues, workers, how long jobs take
exposition  all of it in the format that was asked for
"""
