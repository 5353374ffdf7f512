"""Relevance, time, trust and entities become one score: pure functions on arrays.

`calibration` raw scores to log-odds, `profiles` how much each component may say, `components`
what each one says, `cognitive` the sum under its cap. Formulas: cognitive-scoring in `docs/`.
"""
