"""Errors of the task area: models, algorithms, their settings, and optional packages."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

TASK: dict[str, Entry] = {
    "task.setting": Entry(
        "The setting {name} is {value}, which is not {rule}.",
        "Give {name} as {rule}.",
    ),
    "task.needs-sgd": Entry(
        "{algorithm} takes no {name}: {why}.",
        "Leave the {name} out, or use fedavg() or fedprox(), which take any.",
    ),
    "task.optimiser-momentum": Entry(
        "Both local_momentum and the optimiser {optimiser} say how clients step.",
        "Leave local_momentum out; tacit.sgd(momentum=...) is its place in an optimiser.",
    ),
    "task.no-shape": Entry(
        "The task does not know the shape of an example or the number of classes.",
        "Pass `data=` to the Federation: a Schema, or tacit.arrays(shape=..., classes=...).",
    ),
    "task.lloyd": Entry(
        "lloyd() moves centroids, and the task's model has none.",
        "Use it with tacit.statistics.kmeans(...), or choose another algorithm.",
    ),
    "task.trees-pair": Entry(
        "The task {task} and the algorithm {algorithm} do not fit: one is about histograms of "
        "trees, the other about the numbers of a model.",
        "Use tacit.trees.boosted_trees(...) with tacit.trees.boosting(...), and no other with "
        "either.",
    ),
    "task.trees-rounds": Entry(
        "{rounds} rounds end within a tree: each tree takes {each} (one a level, one for leaves).",
        "Give rounds={near}.",
    ),
    "task.trees-full": Entry(
        "{rounds} rounds are more than the task has trees for: it is full after {most}.",
        "Give rounds={most}, or boosted_trees(trees={trees}).",
    ),
    "task.trees-range": Entry(
        "Trees have public bins, and the data contract promises no range of the features.",
        "Pass tacit.arrays(shape=..., low=..., high=...) with public bounds, or a Schema.",
    ),
    "task.trees-classes": Entry(
        "Boosted trees know two classes or regression; the data contract has {classes} classes.",
        "Learn one class against the rest, or choose another task.",
    ),
    "task.no-trees": Entry(
        "The model is one of a {kind}, not of boosted trees, so XGBoost has no file for it.",
        "Use a model of tacit.trees.boosted_trees().",
    ),
    "task.no-representation": Entry(
        "The algorithm compares what models make of a record, and a {task} does not show that.",
        "Use moon() with tacit.numpy.mlp() or a torch module; else fedprox() or scaffold().",
    ),
    "task.no-layer": Entry(
        "The model has no layer {layer!r} to take a representation from. There is: {known}.",
        "Name one of these as `layer` in moon().",
    ),
    "task.no-statistics": Entry(
        "The model is one of a {kind}, not of a closed form of tacit.statistics.",
        "Read its parameters with model.arrays().",
    ),
    "task.missing-extra": Entry(
        "{feature} needs the package {package}, which is not installed.",
        'Install it with: pip install "tacit[{extra}]"',
    ),
    "task.option": Entry(
        "The option {name} is a {kind}; a description holds plain values only.",
        "Give numbers, strings or lists of them, and let the constructor make the rest of them. "
        "Leave out an option that is None.",
    ),
    "task.code-name": Entry(
        "{name!r} does not name code.",
        'Write "module:function", for example "my_app:model" for model() in my_app.py.',
    ),
    "task.code-not-named": Entry(
        "A {kind} is not a class or function with a name, so a description cannot refer to it.",
        "Pass the class, or a function that builds the object, and its options beside it.",
    ),
    "task.code-local": Entry(
        "{name} is defined inside a function, so nobody else can find it by name.",
        "Move it to the top of a module, and pass what it needs as options.",
    ),
    "task.code-no-module": Entry(
        "There is no module {module} here.",
        "{hint}Run from the folder that holds it, or put that folder on PYTHONPATH.",
    ),
    "task.code-no-function": Entry(
        "The module {module} has nothing called {function}.",
        "{hint}Correct the name, or add the function to the module.",
    ),
    "task.code-no-source": Entry(
        "The source of {name} cannot be read, so it cannot be named by digest.",
        "Put the code in a Python file (a module of its own) and name it as module:function.",
    ),
    "task.code-changed": Entry(
        "The code of {name} is not the one that the description means: its source has SHA-256 "
        "{found}..., the description says {expected}...",
        "Bring back the version that was described, or describe the new code with "
        "`tacit check FILE --renew-code` and have it approved again.",
    ),
    "task.code-main": Entry(
        "{name} was defined in a script or notebook, and this process does not run the same one.",
        "Put the code in a module file of its own and describe it as module:function.",
    ),
    "task.code-fails": Entry(
        "{name} failed when it was {doing}: {why}",
        "Correct the code; the error below this one shows the line.",
    ),
    "task.torch-not-a-module": Entry(
        "{model} returned a {kind}, not a torch.nn.Module.",
        "Return the module itself.",
    ),
    "task.torch-nothing-to-train": Entry(
        "{model} has no parameters to train.",
        "Leave requires_grad on for at least one parameter.",
    ),
    "task.torch-not-repeatable": Entry(
        "{model} built two modules with different parameters from the same options.",
        "Let the module's shape depend on its options alone.",
    ),
    "task.classes": Entry(
        "{what} needs at least two classes; the data contract has {classes}.",
        "Set the classes in the contract, or choose a regression.",
    ),
    "task.torch-output": Entry(
        "The model's output has the shape {found}, but the labels ask for {expected}.",
        'Give the model one output for each class or value (loss="bce" for a single logit).',
    ),
    "task.torch-loss": Entry(
        "The loss {loss} did not return one number.",
        "Return the mean loss over the batch, a tensor without dimensions.",
    ),
    "task.torch-batch-of-one": Entry(
        "Batch normalisation ({layer}) cannot train on a batch of one example.",
        "Choose a batch size that leaves no single example over, or use group normalisation.",
    ),
    "task.sklearn-estimator": Entry(
        "The estimator {name} cannot be trained here; the linear ones can: {known}.",
        "Pass one of them itself, not inside a pipeline; scaling belongs to the data's schema.",
    ),
    "task.sklearn-option": Entry(
        "{name} has no setting {option}.",
        "{hint}Use the names of scikit-learn's own settings.",
    ),
    "task.sklearn-setting": Entry(
        "{name}({option}={value!r}) has no federated form here.",
        "Use {option}={allowed}.",
    ),
    "task.sklearn-records": Entry(
        "{name} weighs its penalty against the sum of the losses of all records, so the penalty "
        "depends on how many records the federation has.",
        "Pass records=(their public total), or use {instead}.",
    ),
    "task.label-range": Entry(
        "A label lies outside the whole numbers 0 to {last} ({classes} classes).",
        "Map the labels to 0..{last}, or raise the number of classes in the contract and model.",
    ),
    "task.loss-not-finite": Entry(
        "The training loss of {model} is {value}.",
        "Lower the learning rate, scale the features, or look for values that overflow.",
    ),
    "task.personal-nothing": Entry(
        "No tensor of the model matches {pattern!r}, which is to stay at home. It has: {known}.",
        "{hint}Name tensors of the model, or whole layers as `layer.*`.",
    ),
    "task.personal-no-norm": Entry(
        "The model has no batch normalisation that could stay at home.",
        "Use fedper() and name the tensors that stay, or a model with batch normalisation.",
    ),
    "task.personal-all": Entry(
        "All trained numbers would stay at home, so nothing would be learned together.",
        "Let at least one tensor travel, or train at each client alone with local_only().",
    ),
    "task.mixes": Entry(
        "The layer {layer} of {model} mixes the examples of a batch, so the gradient of a single "
        "example does not exist.",
        "Use group or layer normalisation instead of batch normalisation.",
    ),
}
