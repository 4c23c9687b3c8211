"""How fast is it, against what? Each file is one benchmark with its ceiling in the same run; figures are ratios."""
