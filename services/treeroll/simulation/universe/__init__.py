"""The service without processes or sockets, under every fault at once: one seed decides all that happens.

Coordinator, replica plane, feed, records, outbox, sequences and recovery are the real ones, in virtual time on an event
loop of their own. What is simulated is what they stand on: clocks, the network, the store's faults, engines, clients,
and death.
"""
