"""The study: what the loss, the subnets and their groups gain on a data set, beside controls and over several seeds.

`confseg study` runs it. `arms` has the networks that are compared and the recipe made from them; `plan`, how long and
on what crops they are trained; `tuning`, the learning rates that each tries; `run`, the course from the first network
to the record; `seeds`, the processes of further seeds; `statistics` and `results`, the numbers.
"""
