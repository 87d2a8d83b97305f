"""The simulated clock: who is slow, what work costs, when messages arrive.

`fleet` says what devices and networks there are, `costs` turns counted work into time, `clock` plays a round out.
Nothing here reads a real clock, except `costs.measure`, by which the declared costs were found.
"""
