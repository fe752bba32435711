"""``elector demo``: three real processes, one ledger, and everything that goes wrong.

The stage starts three replicas (processes of their own), kills the leader, freezes the next
one past its lease and wakes it again, and shuts the one after that down politely. Each
replica that leads writes to a guarded ledger every few milliseconds, and notes in a file of
its own what it does, with the clock. At the end a judge reads those files and the ledger, not
Elector's own records: did two leaders ever work at once, was a stale write ever accepted?

Reading order: `report` (what comes out), `witness` and `ledger` (what is recorded), `replica`
(one process), `company` (three of them), `stage` (the acts), `judge`, `show`.
"""
