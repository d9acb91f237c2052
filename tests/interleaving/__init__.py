"""Tries the orders in which tasks and threads can run, and what cancelling them can do.

Everything that happens in a schedule is drawn from one seed: which task goes on, when a thread gets
its turn. A failure names its case, and the case alone replays it::

    python -m tests.interleaving --storage database --case "changes seed=17 cancel=a:3:late"

`choices` draws, `threads` lets one thread run at a time, and `loop` is the event loop that runs in
one and gives work to others. `world` holds the users and objects and knows which answers are right,
`methods` are the access methods, `scenarios` what the tasks do. `explorer` runs them.
"""
