"""Functions of ``nn.functional`` that are compositions of other ops, by family."""
