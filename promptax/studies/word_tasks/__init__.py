"""What demonstrations do to a language model, and what a tuned prompt or tuned weights do instead.

Four small tasks on words. Do more demonstrations help, must their answers be right (Min et al.
2022), does calibration help (Zhao et al. 2021), and does a tuned soft prompt do what demonstrations
do (Lester et al. 2021)?
"""

from promptax.studies.word_tasks.study import WordTasks as WordTasks
