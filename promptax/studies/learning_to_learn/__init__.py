"""Learning to learn: networks that remember, gradient steps that adapt, and both at once.

Meta-training gives a predictor that learns a task from what it observes. It may learn by reading
(memory), by steps on its weights (gradients), or by both. All of them are trained on the same
number of tokens, and held against the exact Bayes predictor, observation by observation.
"""

from promptax.studies.learning_to_learn.study import LearningToLearn as LearningToLearn
