"""Relevance, time, use, trust and entities become one score: pure functions on arrays.

`calibration` raw scores to log-odds, `profiles` how much each component may say, `intent` what a
question says of time, `half_lives` how long a memory stays current, `components` what each one
says, `cognitive` the sum under its cap, `exactness` whether a better one can be outside the pool;
`fitting` and `learning` fit calibrations and weights to data. Formulas: cognitive-scoring in
`docs/`.
"""
