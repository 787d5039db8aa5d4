"""Akyürek et al. 2022, What learning algorithm is in-context learning? With von Oswald et al. 2023,
Transformers Learn In-Context by Gradient Descent, and Garg et al. 2022, What Can Transformers Learn
In-Context? A Case Study of Simple Function Classes.

Networks that are trained on linear regression: which algorithm do they carry out?
"""

from promptax.studies.akyurek_2022.study import Akyurek2022 as Akyurek2022
