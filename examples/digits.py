"""Train a small convolutional network on scikit-learn's 1,797 handwritten digits.

    python examples/digits.py --device cpu

With `import torch` in place of `import multitorch as torch` it runs on PyTorch: same losses.
"""

import argparse

from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import multitorch as torch

nn, F, data = torch.nn, torch.nn.functional, torch.utils.data


class Net(nn.Module):
    """Map (N, 1, 8, 8) images to (N, 10) scores."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).flatten(1)))


def seed_generators(seed):
    """Seed the generators, and let every device draw the numbers that the CPU would."""
    torch.manual_seed(seed)
    if hasattr(torch.random, "use_cpu_stream"):  # multitorch's own switch
        torch.random.use_cpu_stream(True)


def load_data():
    """Return the training set and the test set; pixels lie in [0, 1]."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    train, test = train_test_split(
        range(len(labels)), test_size=0.2, random_state=2, stratify=digits.target
    )
    whole = data.TensorDataset(images, labels)
    return data.Subset(whole, train), data.Subset(whole, test)


def make_step(model, optimizer):
    """Return the function that learns from one batch and returns its loss and number right."""

    def step(images, labels):
        optimizer.zero_grad()
        scores = model(images)
        loss = F.cross_entropy(scores, labels)
        loss.backward()
        optimizer.step()
        return loss.detach(), (scores.argmax(1) == labels).sum()

    return step


def train(model, step, loader, scheduler, epochs, device):
    """Run the epochs and return {"loss": [...], "accuracy": [...]}, one entry each."""
    history = {"loss": [], "accuracy": []}
    model.train()
    for epoch in range(1, epochs + 1):
        total = right = seen = 0
        bar = tqdm(loader, desc=f"epoch {epoch:2d}/{epochs}")
        for images, labels in bar:
            loss, hits = step(images.to(device), labels.to(device))
            total += loss.item() * len(labels)
            right += hits.item()
            seen += len(labels)
            bar.set_postfix(loss=f"{total / seen:.4f}", accuracy=f"{right / seen:.2%}")
        scheduler.step()
        history["loss"].append(total / seen)
        history["accuracy"].append(right / seen)
    return history


def predict(model, dataset, device):
    """Return (images, labels, predictions) for the whole dataset."""
    images, labels = next(iter(data.DataLoader(dataset, batch_size=len(dataset))))
    model.eval()
    with torch.no_grad():
        return images, labels, model(images.to(device)).argmax(1).cpu()


def plot(history, images, labels, predictions, path):
    """Draw the curves, and a grid of test images with what the model takes them for."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    curves = left.subplots(2, 1, sharex=True)
    for axes, name in zip(curves, ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[name], marker=".")
        axes.set_ylabel(f"training {name}")
        axes.grid(alpha=0.3)
    curves[-1].set_xlabel("epoch")
    for i, axes in enumerate(right.subplots(4, 6).flat):
        guess, truth = predictions[i].item(), labels[i].item()
        axes.imshow(images[i, 0].numpy(), cmap="gray_r")
        axes.set_title(f"{guess}", color="green" if guess == truth else "red")
        axes.axis("off")
    right.suptitle("test images, with predictions")
    figure.savefig(path)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Train on handwritten digits.")
    parser.add_argument("--device", default="cpu", help="cpu, jax, cuda or tpu (default: cpu)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="compile the training step")
    parser.add_argument("--plot", default="digits.png", help="where the picture goes")
    args = parser.parse_args(argv)

    seed_generators(args.seed)
    train_set, test_set = load_data()
    loader = data.DataLoader(train_set, batch_size=64, shuffle=True, drop_last=True)
    model = Net().to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    step = make_step(model, optimizer)
    if args.compile:
        step = torch.compile(step)

    history = train(model, step, loader, scheduler, args.epochs, args.device)
    images, labels, predictions = predict(model, test_set, args.device)
    history["test_accuracy"] = (predictions == labels).sum().item() / len(labels)
    plot(history, images, labels, predictions, args.plot)
    print(f"test accuracy {history['test_accuracy']:.2%}  (picture: {args.plot})")
    return history


if __name__ == "__main__":
    main()
