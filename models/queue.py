"""The Celery app and the one message it carries.

A message is a hint, never work: "there is something in the queue for this kind of device". SQL decides what; so a lost
message costs a little time and a doubled one nothing.
"""

from celery import Celery
from kombu import Queue

from models.settings import settings

TRAIN = "descent.train"
QUEUES = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}
"""By the device of the worker that listens. One that names no queue listens to all of them."""
WAKE_UP_SECONDS = 60
"""A hint this old has been repeated since."""

_TRANSPORT = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
}

app = Celery("descent", broker=settings().broker())
app.conf.update(
    task_acks_late=False,
    task_ignore_result=True,
    result_backend=None,
    accept_content=["json"],
    task_serializer="json",
    worker_prefetch_multiplier=1,
    # torch is imported when a training process starts; on a cold disk that takes longer than Celery's four seconds.
    worker_proc_alive_timeout=120,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options=_TRANSPORT,
    task_default_queue=QUEUES["cpu"],
    task_queues=[Queue(name) for name in QUEUES.values()],
    task_create_missing_queues=False,
)


def wake(device: str, lanes: int) -> None:
    """Bring the number of wake-ups waiting for workers of a device up to `lanes`.

    Raises:
        kombu.exceptions.OperationalError: if the broker cannot be reached.

    """
    with app.connection_for_write() as connection:
        name = QUEUES[device]
        queue = app.amqp.queues[name].bind(connection.default_channel)
        waiting = queue.queue_declare().message_count
        for _ in range(lanes - waiting):
            app.send_task(TRAIN, queue=name, expires=WAKE_UP_SECONDS, connection=connection, retry=False)
