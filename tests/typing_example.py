"""What a type checker knows of a user's program. mypy reads this file; nobody runs it."""

from typing import Any, assert_type

import numpy as np

import tinyfractal as tf

train, test = tf.data.load("digits")
assert_type(train, tf.data.Dataset)

net = tf.nn.Sequential(tf.nn.Flatten(), tf.nn.Linear(64, 10))
x = tf.Tensor(np.ones((2, 8, 8, 1), np.float32))
logits = net(x)
assert_type(logits, tf.Tensor)
assert_type(net.eval(), tf.nn.Sequential)

assert_type(tf.exp(x), tf.Tensor)
assert_type(x.sum(), tf.Tensor)
assert_type(x.prod(), tf.Tensor)
assert_type(2 * x + x[0], tf.Tensor)

loss = tf.cross_entropy(logits, train.labels[:2])
assert_type(loss, tf.Tensor)
assert_type(loss.backward(), None)

optimizer = tf.optim.SGD(net.parameters(), lr=0.1)
schedule = tf.optim.CosineLR(optimizer, 5)
assert_type(tf.train.fit(net, train, test, optimizer, schedule), list[dict[str, Any]])
assert_type(tf.train.evaluate(net, test), tf.train.Result)
assert_type(tf.FractalNet(columns=3, in_channels=1, classes=10)(x), tf.Tensor)
assert_type(tf.zoo.ResNet(depth=4, in_channels=1, classes=10), tf.zoo.ResNet)
tf.plot.draw_network(3, (16, 32))
