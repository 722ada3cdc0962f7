"""The families of components, under the words that a spec and its readers use."""

from models.spec.analyses import Analysis
from models.spec.datasets import Dataset
from models.spec.evaluation import Evaluation
from models.spec.networks import Network
from models.spec.optimizers import Optimizer
from models.spec.regularizers import Regularizer
from models.spec.schedules import Schedule

FAMILIES = {
    "dataset": Dataset,
    "network": Network,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "regularizer": Regularizer,
    "evaluation": Evaluation,
    "analysis": Analysis,
}
