"""A real round: processes with CPU quotas and shaped links run the protocol, and the clock's forecast is held against them.

`scene` says who takes part and with what, `host` makes it so on this machine, `frames` and `parties` are the processes and
what they say to one another, `forecast` is what the simulator expects, from calibration alone, and `report` compares.
"""
