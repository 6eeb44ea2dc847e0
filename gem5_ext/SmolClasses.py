from m5.objects.FuncUnit import OpClass


def smolClass(function, stand_in):
    """Operation class of a function: its own where gem5 has one (patch op-classes), else one that no kernel uses."""
    named = "Smol" + function.capitalize()
    return named if named in OpClass.vals else stand_in
